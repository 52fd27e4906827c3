-- A judgement a candle and bot, 525,600 a year at 1m: built a day at a time.
{{ config(
    materialized='incremental',
    incremental_strategy='microbatch',
    event_time='last_judged_at',
    batch_size='day',
    lookback=1,
    begin='2026-01-01',
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['bot_id', 'day'], 'unique': true}],
) }}

with signals as (
    select * from {{ ref('stg_signals').render() }}
    where {{ in_batch('judged_at') }}
),

final as (
    select
        bot_id,
        day,
        count(*)::integer as judgements,
        count(*) filter (where signal_type = 'buy')::integer as buys,
        count(*) filter (where signal_type = 'sell')::integer as sells,
        avg(confidence) filter (where signal_type <> 'hold') as average_confidence,
        percentile_cont(0.5) within group (order by latency_ms) as latency_p50_ms,
        percentile_cont(0.99) within group (order by latency_ms) as latency_p99_ms,
        max(judged_at) as last_judged_at
    from signals
    group by bot_id, day
)

select * from final
