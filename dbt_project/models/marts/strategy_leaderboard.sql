-- Amounts of different currencies are not added up: what was tested stands beside the bots that trade in the
-- same one.
with bots as (
    select
        *,
        split_part(symbol, '-', 2) as quote
    from {{ ref('bot_leaderboard') }}
),

backtests as (
    select
        *,
        split_part(symbol, '-', 2) as quote
    from {{ ref('backtest_summary') }}
),

walks as (
    select
        *,
        split_part(symbol, '-', 2) as quote
    from {{ ref('walk_forward_summary') }}
),

lives as (
    select
        quote,
        lower(strategy_name) as strategy,
        count(*) as bots,
        sum(starting_value) as starting_value,
        sum(pnl) as pnl,
        sum(fees) as fees,
        sum(closed_trades) as closed_trades,
        sum(win_rate * closed_trades) as winning_trades,
        max(max_drawdown) as max_drawdown
    from bots
    group by quote, lower(strategy_name)
),

tests as (
    select
        quote,
        lower(strategy_name) as strategy,
        count(*) as backtests,
        percentile_cont(0.5) within group (order by total_return) as median_return,
        percentile_cont(0.5) within group (order by sharpe) as median_sharpe,
        max(sharpe) as best_sharpe
    from backtests
    group by quote, lower(strategy_name)
),

forward as (
    select
        quote,
        lower(strategy_name) as strategy,
        count(*) as walk_forwards,
        avg(average_test_return) as average_test_return
    from walks
    group by quote, lower(strategy_name)
),

strategies as (
    select quote, strategy from lives
    union
    select quote, strategy from tests
    union
    select quote, strategy from forward
),

joined as (
    select
        strategies.quote,
        strategies.strategy,
        coalesce(lives.bots, 0) as bots,
        lives.starting_value,
        coalesce(lives.pnl, 0) as pnl,
        {{ ratio('lives.pnl', 'lives.starting_value') }} as live_return,
        coalesce(lives.fees, 0) as fees,
        coalesce(lives.closed_trades, 0) as closed_trades,
        {{ ratio('lives.winning_trades', 'lives.closed_trades') }} as win_rate,
        lives.max_drawdown,
        coalesce(tests.backtests, 0) as backtests,
        tests.median_return,
        tests.median_sharpe,
        tests.best_sharpe,
        coalesce(forward.walk_forwards, 0) as walk_forwards,
        forward.average_test_return
    from strategies
    left join lives on strategies.quote = lives.quote and strategies.strategy = lives.strategy
    left join tests on strategies.quote = tests.quote and strategies.strategy = tests.strategy
    left join forward on strategies.quote = forward.quote and strategies.strategy = forward.strategy
),

final as (
    select
        (rank() over (order by live_return desc nulls last, median_return desc nulls last))::integer as place,
        quote,
        strategy as strategy_name,
        bots::integer as bots,
        {{ money('pnl') }} as pnl,
        live_return,
        {{ money('fees') }} as fees,
        closed_trades::integer as closed_trades,
        win_rate,
        max_drawdown,
        backtests::integer as backtests,
        median_return as median_backtest_return,
        median_sharpe as median_backtest_sharpe,
        best_sharpe as best_backtest_sharpe,
        walk_forwards::integer as walk_forwards,
        average_test_return
    from joined
)

select * from final
