with source as (
    select * from {{ source('public', 'market_data') }}
),

final as (
    select
        exchange,
        symbol,
        timeframe,
        timestamp as closed_at,
        {{ closing_day('timestamp') }} as day,
        open,
        high,
        low,
        close,
        volume,
        trades_count,
        source,
        revision,
        provisional,
        created_at as stored_at,
        changed_at
    from source
)

select * from final
