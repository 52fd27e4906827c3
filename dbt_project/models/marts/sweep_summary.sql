-- Up to 100,000 rows a sweep, which do not change once it is done: only sweeps that are new are read. Of larger
-- sweeps only the best rows are kept, whose median would hide how much of the best is luck: it is left out.
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='sweep_id',
    on_schema_change='append_new_columns',
) }}

with runs as (
    select * from {{ ref('stg_strategy_runs') }}
    where kind = 'sweep' and status = 'done'
    {%- if is_incremental() %}
        and run_id not in (select known.sweep_id from {{ this }} as known)
    {%- endif %}
),

results as (
    select * from {{ ref('stg_sweep_results') }}
),

scored as (
    select
        runs.run_id as sweep_id,
        results.combination_number,
        results.symbol,
        results.timeframe,
        results.parameters,
        (results.metrics ->> 'sharpe')::double precision as sharpe,
        (results.metrics ->> 'total_return')::double precision as total_return
    from runs
    inner join results on runs.run_id = results.sweep_id
),

summed as (
    select
        sweep_id,
        count(*) as kept,
        percentile_cont(0.5) within group (order by sharpe) as median_sharpe,
        max(sharpe) as best_sharpe,
        percentile_cont(0.5) within group (order by total_return) as median_return,
        count(*) filter (where total_return > 0) as profitable
    from scored
    group by sweep_id
),

first_places as (
    select distinct on (sweep_id) *
    from scored
    order by sweep_id, combination_number
),

sizes as (
    select
        runs.run_id as sweep_id,
        coalesce((runs.parameters ->> 'combinations')::bigint, summed.kept) as combinations
    from runs
    inner join summed on runs.run_id = summed.sweep_id
),

final as (
    select
        runs.run_id as sweep_id,
        runs.strategy_name,
        first_places.symbol as best_symbol,
        first_places.timeframe as best_timeframe,
        sizes.combinations,
        summed.kept::integer as kept,
        first_places.parameters as best_parameters,
        first_places.sharpe as sharpe_of_best,
        first_places.total_return as return_of_best,
        case when summed.kept = sizes.combinations then summed.best_sharpe end as best_sharpe,
        case when summed.kept = sizes.combinations then summed.median_sharpe end as median_sharpe,
        case when summed.kept = sizes.combinations then summed.median_return end as median_return,
        case when summed.kept = sizes.combinations then {{ ratio('summed.profitable', 'summed.kept') }} end as share_profitable,
        runs.started_at,
        runs.ended_at,
        runs.finished_at
    from runs
    inner join summed on runs.run_id = summed.sweep_id
    inner join sizes on runs.run_id = sizes.sweep_id
    inner join first_places on runs.run_id = first_places.sweep_id
)

select * from final
