-- The snapshots of a bot and day under one peak, as one row: what days, drawdowns and exposure are made of, so
-- that none of them reads the curve again.
{{ config(
    materialized='incremental',
    incremental_strategy='microbatch',
    event_time='last_at',
    batch_size='day',
    lookback=1,
    begin='2026-01-01',
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['bot_id', 'day', 'peak_value'], 'unique': true}, {'columns': ['day'], 'type': 'brin'}],
) }}

with curve as (
    select * from {{ ref('int_equity_curve').render() }}
    where {{ in_batch('snapshot_at') }}
),

final as (
    select
        bot_id,
        day,
        peak_value,
        count(*)::integer as snapshots,
        count(*) filter (where crypto_value > 0)::integer as snapshots_in_the_market,
        min(snapshot_at) as first_at,
        max(snapshot_at) as last_at,
        {{ money('(array_agg(total_value order by snapshot_at desc))[1]') }} as closing_value,
        {{ money('min(total_value)') }} as lowest_value,
        (array_agg(snapshot_at order by total_value, snapshot_at))[1] as lowest_at,
        (array_agg(drawdown order by snapshot_at desc))[1] as closing_drawdown,
        max(drawdown) as max_drawdown,
        sum(exposure) as exposure_sum,
        max(exposure) as max_exposure
    from curve
    group by bot_id, day, peak_value
)

select * from final
