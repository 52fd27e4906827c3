with candles as (
    select * from {{ ref('stg_market_data') }}
),

counted as (
    select
        exchange,
        symbol,
        timeframe,
        day,
        count(*)::integer as candles,
        max(
            86400 / case right(timeframe, 1)
                when 'm' then 60 * left(timeframe, -1)::integer
                when 'h' then 3600 * left(timeframe, -1)::integer
                when 'd' then 86400 * left(timeframe, -1)::integer
            end
        )::integer as candles_of_a_full_day,
        count(*) filter (where source = 'synthetic')::integer as synthetic_candles,
        count(*) filter (where provisional)::integer as provisional_candles,
        count(*) filter (where revision > 0)::integer as revised_candles,
        sum(volume) as volume,
        sum(trades_count)::bigint as trades_count,
        min(closed_at) as first_closed_at,
        max(closed_at) as last_closed_at
    from candles
    group by exchange, symbol, timeframe, day
),

final as (
    select
        exchange,
        symbol,
        timeframe,
        day,
        candles,
        candles_of_a_full_day,
        {{ ratio('candles', 'candles_of_a_full_day') }} as completeness,
        synthetic_candles,
        provisional_candles,
        revised_candles,
        {{ money('volume') }} as volume,
        trades_count,
        first_closed_at,
        last_closed_at
    from counted
)

select * from final
