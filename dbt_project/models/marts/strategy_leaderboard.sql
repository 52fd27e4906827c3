with bots as (
    select * from {{ ref('bot_leaderboard') }}
),

backtests as (
    select * from {{ ref('backtest_summary') }}
),

walks as (
    select * from {{ ref('walk_forward_summary') }}
),

lives as (
    select
        lower(strategy_name) as strategy,
        count(*) as bots,
        sum(starting_value) as starting_value,
        sum(pnl) as pnl,
        sum(fees) as fees,
        sum(closed_trades) as closed_trades,
        sum(win_rate * closed_trades) as winning_trades,
        max(max_drawdown) as max_drawdown
    from bots
    group by lower(strategy_name)
),

tests as (
    select
        lower(strategy_name) as strategy,
        count(*) as backtests,
        percentile_cont(0.5) within group (order by total_return) as median_return,
        percentile_cont(0.5) within group (order by sharpe) as median_sharpe,
        max(sharpe) as best_sharpe
    from backtests
    group by lower(strategy_name)
),

forward as (
    select
        lower(strategy_name) as strategy,
        count(*) as walk_forwards,
        avg(average_test_return) as average_test_return
    from walks
    group by lower(strategy_name)
),

strategies as (
    select strategy from lives
    union
    select strategy from tests
    union
    select strategy from forward
),

joined as (
    select
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
    left join lives on strategies.strategy = lives.strategy
    left join tests on strategies.strategy = tests.strategy
    left join forward on strategies.strategy = forward.strategy
),

final as (
    select
        (rank() over (order by live_return desc nulls last, median_return desc nulls last))::integer as place,
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
