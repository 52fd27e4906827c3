with source as (
    select * from {{ source('public', 'data_gaps') }}
),

final as (
    select
        exchange,
        symbol,
        first_id,
        last_id,
        last_id - first_id + 1 as missing_ids,
        state,
        detected_by,
        detected_at,
        {{ utc_day('detected_at') }} as day,
        closed_at,
        closed_by
    from source
)

select * from final
