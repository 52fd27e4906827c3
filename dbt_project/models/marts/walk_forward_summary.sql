with runs as (
    select * from {{ ref('stg_strategy_runs') }}
    where kind = 'walk_forward' and status = 'done'
),

windows as (
    select
        run_id,
        count(*) as windows,
        avg((train_metrics ->> 'total_return')::double precision) as average_train_return,
        avg((test_metrics ->> 'total_return')::double precision) as average_test_return,
        count(*) filter (where (test_metrics ->> 'total_return')::double precision > 0) as profitable,
        avg(test_rank) as average_test_rank
    from {{ ref('stg_walk_forward_windows') }}
    group by run_id
),

final as (
    select
        runs.run_id,
        runs.strategy_name,
        runs.symbol,
        runs.timeframe,
        windows.windows::integer as windows,
        windows.average_train_return,
        windows.average_test_return,
        {{ ratio('windows.profitable', 'windows.windows') }} as share_profitable,
        windows.average_test_rank,
        (runs.metrics ->> 'total_return')::double precision as total_return,
        (runs.metrics ->> 'sharpe')::double precision as sharpe,
        (runs.metrics ->> 'max_drawdown')::double precision as max_drawdown,
        runs.started_at,
        runs.ended_at,
        runs.created_at
    from runs
    inner join windows on runs.run_id = windows.run_id
)

select * from final
