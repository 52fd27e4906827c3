with source as (
    select * from {{ source('public', 'candle_differences') }}
),

final as (
    select
        exchange,
        symbol,
        timeframe,
        timestamp as closed_at,
        {{ closing_day('timestamp') }} as day,
        explanation,
        detected_at,
        resolved_at,
        resolution
    from source
)

select * from final
