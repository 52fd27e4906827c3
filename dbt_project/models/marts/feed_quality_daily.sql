with gaps as (
    select * from {{ ref('stg_data_gaps') }}
),

final as (
    select
        exchange,
        symbol,
        day,
        count(*)::integer as gaps,
        sum(missing_ids)::bigint as missing_ids,
        count(*) filter (where state = 'refilled')::integer as refilled_gaps,
        coalesce(sum(missing_ids) filter (where state = 'refilled'), 0)::bigint as refilled_ids,
        count(*) filter (where state = 'unfillable')::integer as unfillable_gaps,
        count(*) filter (where state in ('open', 'refilling'))::integer as open_gaps,
        (avg(extract(epoch from closed_at - detected_at)) filter (where state = 'refilled'))::double precision as average_refill_seconds
    from gaps
    group by exchange, symbol, day
)

select * from final
