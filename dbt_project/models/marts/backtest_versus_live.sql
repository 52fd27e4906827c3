-- The newest backtest of what a bot does: with its very parameters, risk and execution if there is one, else of its strategy. Lives
-- and backtests differ in length, so returns are compared by the day.
with bots as (
    select * from {{ ref('stg_bots') }}
    where not is_deleted
),

runs as (
    select * from {{ ref('stg_strategy_runs') }}
    where kind = 'backtest' and status = 'done' and ended_at > started_at
),

risk as (
    select * from {{ ref('bot_risk') }}
),

trade_statistics as (
    select * from {{ ref('bot_trade_statistics') }}
),

chosen as (
    select distinct on (bots.bot_id)
        bots.bot_id,
        runs.run_id,
        coalesce(runs.parameters = bots.variant, false) as has_same_parameters,
        (runs.metrics ->> 'total_return')::double precision as total_return,
        (runs.metrics ->> 'sharpe')::double precision as sharpe,
        -(runs.metrics ->> 'max_drawdown')::double precision as max_drawdown,
        (runs.metrics ->> 'win_rate')::double precision as win_rate,
        (runs.metrics ->> 'closed_trades')::double precision as closed_trades,
        extract(epoch from runs.ended_at - runs.started_at)::double precision / 86400 as days
    from bots
    inner join runs
        on lower(bots.strategy_name) = lower(runs.strategy_name)
        and bots.symbol = runs.symbol
        and bots.timeframe = runs.timeframe
    order by bots.bot_id, coalesce(runs.parameters = bots.variant, false) desc, runs.created_at desc, runs.run_id
),

lives as (
    select
        bot_id,
        total_return,
        sharpe,
        max_drawdown,
        extract(epoch from last_at - first_at)::double precision / 86400 as days
    from risk
),

final as (
    select
        bots.bot_id,
        bots.bot_name,
        bots.strategy_name,
        bots.symbol,
        bots.timeframe,
        chosen.run_id,
        chosen.has_same_parameters,
        chosen.days as backtest_days,
        lives.days as live_days,
        {{ daily_growth('chosen.total_return', 'chosen.days') }} as backtest_daily_return,
        {{ daily_growth('lives.total_return', 'lives.days') }} as live_daily_return,
        chosen.sharpe as backtest_sharpe,
        lives.sharpe as live_sharpe,
        chosen.max_drawdown as backtest_max_drawdown,
        lives.max_drawdown as live_max_drawdown,
        chosen.win_rate as backtest_win_rate,
        trade_statistics.win_rate as live_win_rate,
        {{ ratio('chosen.closed_trades', 'chosen.days') }} as backtest_trades_a_day,
        {{ ratio('trade_statistics.closed_trades', 'lives.days') }} as live_trades_a_day
    from bots
    left join chosen on bots.bot_id = chosen.bot_id
    left join lives on bots.bot_id = lives.bot_id
    left join trade_statistics on bots.bot_id = trade_statistics.bot_id
)

select * from final
