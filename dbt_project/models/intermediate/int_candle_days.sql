-- Counted again are the days to which candles came or in which any changed since the last build, wherever a
-- backfill put them and whatever changed them: time is the wall clock's here, candles may be of any.
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

{% if is_incremental() -%}
built as (
    select
        -- a row is visible a while after the time it carries
        coalesce(max(last_changed_at), '-infinity') - interval '10 minutes' as until
    from {{ this }}
),

touched as (
    select distinct candles.exchange, candles.symbol, candles.timeframe, candles.day
    from candles
    where candles.stored_at >= (select built.until from built) or candles.changed_at >= (select built.until from built)
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
        max(greatest(stored_at, changed_at)) as last_changed_at
    from of_touched_days
    group by exchange, symbol, timeframe, day
)

select * from final
