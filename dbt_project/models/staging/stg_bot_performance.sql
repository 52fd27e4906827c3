with source as (
    select * from {{ source('public', 'bot_performance') }}
),

final as (
    select
        bot_id,
        timestamp as snapshot_at,
        {{ closing_day('timestamp') }} as day,
        total_value,
        cash_balance as cash_value,
        crypto_balance as crypto_value,
        total_trades as closed_trades,
        winning_trades,
        total_fees
    from source
)

select * from final
