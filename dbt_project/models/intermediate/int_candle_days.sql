-- Counted again are the days to which candles came since the last build, wherever a backfill put them, the
-- newest two, which the exchange may still revise, and those that a reconciliation mended.
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key=['exchange', 'symbol', 'timeframe', 'day'],
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['exchange', 'symbol', 'timeframe', 'day'], 'unique': true}],
) }}

-- Not materialized: read twice, all candles of all time would be written to disk in between.
with candles as not materialized (
    select * from {{ ref('stg_market_data') }}
),

differences as (
    select * from {{ ref('stg_candle_differences') }}
),

{% if is_incremental() -%}
built as (
    select
        -- a row is visible a while after the time it carries
        coalesce(max(last_stored_at), '-infinity') - interval '10 minutes' as stored_at,
        max(last_closed_at) - interval '2 days' as closed_at
    from {{ this }}
),

touched as (
    select distinct candles.exchange, candles.symbol, candles.timeframe, candles.day
    from candles
    where candles.stored_at >= (select built.stored_at from built) or candles.closed_at > (select built.closed_at from built)
    union
    select differences.exchange, differences.symbol, differences.timeframe, differences.day
    from differences
    where differences.resolved_at > (select built.closed_at from built)
),

of_touched_days as (
    select of_day.*
    from touched
    cross join lateral (
        select candles.*
        from candles
        where
            candles.exchange = touched.exchange
            and candles.symbol = touched.symbol
            and candles.timeframe = touched.timeframe
            and candles.closed_at > touched.day::timestamp at time zone 'UTC'
            and candles.closed_at <= (touched.day + 1)::timestamp at time zone 'UTC'
        -- a day at a time, by the key: joined, every candle would be held against every touched day
        offset 0
    ) as of_day
),
{%- else -%}
of_touched_days as (
    select * from candles
),
{%- endif %}

final as (
    select
        exchange,
        symbol,
        timeframe,
        day,
        count(*)::integer as candles,
        count(*) filter (where source = 'synthetic')::integer as synthetic_candles,
        count(*) filter (where provisional)::integer as provisional_candles,
        count(*) filter (where revision > 0)::integer as revised_candles,
        {{ money('sum(volume)') }} as volume,
        sum(trades_count)::bigint as trades_count,
        min(closed_at) as first_closed_at,
        max(closed_at) as last_closed_at,
        max(stored_at) as last_stored_at
    from of_touched_days
    group by exchange, symbol, timeframe, day
)

select * from final
