with runs as (
    select * from {{ ref('stg_strategy_runs') }}
),

final as (
    select
        run_id,
        strategy_name,
        symbol,
        timeframe,
        started_at,
        ended_at,
        candles,
        initial_cash,
        {{ money('final_value') }} as final_value,
        {{ money('final_value::numeric - initial_cash') }} as pnl,
        {{ ratio('final_value::numeric - initial_cash', 'initial_cash') }} as total_return,
        (metrics ->> 'sharpe')::double precision as sharpe,
        (metrics ->> 'max_drawdown')::double precision as max_drawdown,
        (metrics ->> 'win_rate')::double precision as win_rate,
        (metrics ->> 'profit_factor')::double precision as profit_factor,
        (metrics ->> 'closed_trades')::double precision::integer as closed_trades,
        created_at
    from runs
    where kind = 'backtest' and status = 'done'
)

select * from final
