with days as (
    select * from {{ ref('int_candle_days') }}
),

differences as (
    select
        exchange,
        symbol,
        timeframe,
        day,
        count(*) as differing_candles,
        count(*) filter (where explanation = 'unexplained') as unexplained_candles
    from {{ ref('stg_candle_differences') }}
    group by exchange, symbol, timeframe, day
),

expected as (
    select
        *,
        (86400 / {{ timeframe_seconds('timeframe') }})::integer as candles_of_a_full_day
    from days
),

final as (
    select
        expected.exchange,
        expected.symbol,
        expected.timeframe,
        expected.day,
        expected.candles,
        expected.candles_of_a_full_day,
        {{ ratio('expected.candles', 'expected.candles_of_a_full_day') }} as completeness,
        expected.synthetic_candles,
        expected.provisional_candles,
        expected.revised_candles,
        coalesce(differences.differing_candles, 0)::integer as differing_candles,
        coalesce(differences.unexplained_candles, 0)::integer as unexplained_candles,
        {{ money('expected.volume') }} as volume,
        expected.trades_count,
        expected.first_closed_at,
        expected.last_closed_at
    from expected
    left join differences
        on expected.exchange = differences.exchange
        and expected.symbol = differences.symbol
        and expected.timeframe = differences.timeframe
        and expected.day = differences.day
)

select * from final
