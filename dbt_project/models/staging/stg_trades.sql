with source as (
    select * from {{ source('public', 'trades') }}
),

final as (
    select
        id as trade_id,
        bot_id,
        signal_id,
        timestamp as traded_at,
        {{ utc_day('timestamp') }} as day,
        side,
        price,
        quantity,
        {{ money('price * quantity') }} as value,
        fees,
        pnl,
        balance_after as cash_after
    from source
)

select * from final
