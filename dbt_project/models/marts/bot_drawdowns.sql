-- All stretches under one peak are one drawdown; it ends where the next peak begins.
with stretches as (
    select * from {{ ref('int_equity_stretches') }}
),

bots as (
    select * from {{ ref('stg_bots') }}
),

peaks as (
    select
        bot_id,
        peak_value,
        min(first_at) as peak_at,
        (array_agg(lowest_at order by lowest_value, lowest_at))[1] as trough_at,
        min(lowest_value) as trough_value,
        max(max_drawdown) as depth,
        max(last_at) as last_at
    from stretches
    group by bot_id, peak_value
),

followed as (
    select
        *,
        lead(peak_at) over (partition by bot_id order by peak_value) as recovered_at
    from peaks
),

final as (
    select
        followed.bot_id,
        bots.bot_name,
        followed.peak_at,
        followed.trough_at,
        followed.recovered_at,
        followed.recovered_at is null as is_open,
        {{ money('followed.peak_value') }} as peak_value,
        {{ money('followed.trough_value') }} as trough_value,
        followed.depth,
        extract(epoch from coalesce(followed.recovered_at, followed.last_at) - followed.peak_at)::double precision as seconds
    from followed
    inner join bots on followed.bot_id = bots.bot_id
    where followed.depth >= 0.001
)

select * from final
