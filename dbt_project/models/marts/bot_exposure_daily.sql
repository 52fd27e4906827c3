with stretches as (
    select * from {{ ref('int_equity_stretches') }}
),

bots as (
    select * from {{ ref('stg_bots') }}
),

days as (
    select
        bot_id,
        day,
        sum(snapshots) as snapshots,
        sum(snapshots_in_the_market) as snapshots_in_the_market,
        sum(exposure_sum) as exposure_sum,
        max(max_exposure) as max_exposure,
        max(max_drawdown) as max_drawdown
    from stretches
    group by bot_id, day
),

final as (
    select
        days.bot_id,
        bots.bot_name,
        bots.symbol,
        days.day,
        days.snapshots::integer as snapshots,
        {{ ratio('days.snapshots_in_the_market', 'days.snapshots') }} as time_in_market,
        {{ ratio('days.exposure_sum', 'days.snapshots') }} as average_exposure,
        days.max_exposure,
        days.max_drawdown
    from days
    inner join bots on days.bot_id = bots.bot_id
)

select * from final
