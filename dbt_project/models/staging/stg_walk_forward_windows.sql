with source as (
    select * from {{ source('public', 'walk_forward_windows') }}
),

final as (
    select
        run_id,
        n as window_number,
        train_start as train_started_at,
        train_end as train_ended_at,
        test_start as test_started_at,
        test_end as test_ended_at,
        parameters,
        train_metrics,
        test_metrics,
        test_rank
    from source
)

select * from final
