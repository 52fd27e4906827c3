with source as (
    select * from {{ source('public', 'signals') }}
),

final as (
    select
        id as signal_id,
        bot_id,
        timestamp as judged_at,
        {{ closing_day('timestamp') }} as day,
        signal_type,
        price,
        confidence,
        latency_ms
    from source
)

select * from final
