with source as (
    select * from {{ source('public', 'strategy_runs') }}
),

final as (
    select
        id as run_id,
        kind,
        strategy_name,
        symbol,
        timeframe,
        parameters,
        start_time as started_at,
        end_time as ended_at,
        status,
        candles,
        initial_cash,
        final_value,
        fee,
        slippage,
        metrics,
        created_at,
        finished_at
    from source
)

select * from final
