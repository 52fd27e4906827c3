with source as (
    select * from {{ source('public', 'raw_trades') }}
),

final as (
    select
        exchange,
        symbol,
        trade_id,
        timestamp as traded_at,
        {{ utc_day('timestamp') }} as day,
        price,
        size,
        side,
        count as matches,
        source,
        received_at
    from source
)

select * from final
