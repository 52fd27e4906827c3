-- The definitions of core/metrics.py: daily returns of the days that have snapshots, 365 of them a year.
with bots as (
    select * from {{ ref('stg_bots') }}
),

days as (
    select * from {{ ref('int_daily_equity') }}
    where has_snapshot
),

stretches as (
    select * from {{ ref('int_equity_stretches') }}
),

returns as (
    select
        bot_id,
        case when opening_value > 0 then (closing_value::double precision / opening_value::double precision) - 1 else 0 end as daily_return
    from days
),

moments as (
    select
        bot_id,
        count(*) as days,
        avg(daily_return) as average,
        stddev_samp(daily_return) as deviation,
        sqrt(avg(least(daily_return, 0) * least(daily_return, 0))) as downside
    from returns
    group by bot_id
),

lives as (
    select
        bot_id,
        min(first_at) as first_at,
        max(last_at) as last_at,
        (array_agg(closing_value order by last_at desc))[1]::double precision as closing_value,
        max(max_drawdown) as max_drawdown,
        sum(snapshots_in_the_market) as snapshots_in_the_market,
        sum(exposure_sum) as exposure_sum,
        sum(snapshots) as snapshots
    from stretches
    group by bot_id
),

grown as (
    select
        lives.*,
        bots.bot_name,
        lives.closing_value / bots.starting_value::double precision as growth,
        extract(epoch from lives.last_at - lives.first_at)::double precision + {{ timeframe_seconds('bots.timeframe') }} as seconds
    from lives
    inner join bots on lives.bot_id = bots.bot_id
),

annual as (
    select
        *,
        case
            when seconds < 86400 then null
            when growth <= 0 then -1
            -- below 1e-300 the power underflows, which PostgreSQL calls an error
            when ln(growth) * 365 * 86400 / seconds < -690 then -1
            -- beyond 1e300 it is too large a number to tell
            when ln(growth) * 365 * 86400 / seconds < 690 then growth ^ (365 * 86400 / seconds) - 1
        end as cagr
    from grown
),

final as (
    select
        annual.bot_id,
        annual.bot_name,
        moments.days::integer as days,
        annual.growth - 1 as total_return,
        annual.cagr,
        -- equal returns differ by their rounding, about 1e-16 of 1
        case when moments.deviation > 1e-15 then moments.average / moments.deviation * sqrt(365) end as sharpe,
        case when moments.days > 1 and moments.downside > 0 then moments.average / moments.downside * sqrt(365) end as sortino,
        moments.deviation * sqrt(365) as volatility,
        annual.max_drawdown,
        {{ ratio('annual.cagr', 'annual.max_drawdown') }} as calmar,
        {{ ratio('annual.snapshots_in_the_market', 'annual.snapshots') }} as time_in_market,
        {{ ratio('annual.exposure_sum', 'annual.snapshots') }} as average_exposure,
        annual.first_at,
        annual.last_at
    from annual
    inner join moments on annual.bot_id = moments.bot_id
)

select * from final
