with source as (
    select * from {{ source('public', 'sweep_results') }}
),

final as (
    select
        sweep_id,
        n as combination_number,
        symbol,
        timeframe,
        parameters,
        metrics
    from source
)

select * from final
