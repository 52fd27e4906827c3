-- Every bot has a row for every day from its first to the last day any bot was seen, so that a bot which stood
-- still for a day keeps its value in the portfolio.
with bots as (
    select * from {{ ref('stg_bots') }}
),

stretches as (
    select * from {{ ref('int_equity_stretches') }}
),

fills as (
    select * from {{ ref('stg_trades') }}
),

closings as (
    select distinct on (bot_id, day)
        bot_id,
        day,
        closing_value
    from stretches
    order by bot_id, day, last_at desc
),

active_days as (
    select bot_id, day from closings
    union
    select bot_id, day from fills
),

spans as (
    select
        bot_id,
        min(day) as first_day,
        max(max(day)) over () as last_day
    from active_days
    group by bot_id
),

days as (
    select
        spans.bot_id,
        series.day::date as day
    from spans
    cross join generate_series(spans.first_day::timestamp, spans.last_day::timestamp, interval '1 day') as series (day)
),

numbered as (
    select
        days.bot_id,
        days.day,
        closings.closing_value,
        count(closings.closing_value) over (partition by days.bot_id order by days.day) as snapshots_before
    from days
    left join closings on days.bot_id = closings.bot_id and days.day = closings.day
),

carried as (
    select
        numbered.bot_id,
        numbered.day,
        numbered.closing_value is not null as has_snapshot,
        bots.starting_value,
        coalesce(
            max(numbered.closing_value) over (partition by numbered.bot_id, numbered.snapshots_before),
            bots.starting_value
        ) as closing_value
    from numbered
    inner join bots on numbered.bot_id = bots.bot_id
),

final as (
    select
        bot_id,
        day,
        has_snapshot,
        {{ money('coalesce(lag(closing_value) over (partition by bot_id order by day), starting_value)') }} as opening_value,
        {{ money('closing_value') }} as closing_value
    from carried
)

select * from final
