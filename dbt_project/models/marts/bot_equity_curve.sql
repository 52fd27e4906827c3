with bots as (
    select * from {{ ref('stg_bots') }}
),

snapshots as (
    select * from {{ ref('stg_bot_performance') }}
),

peaks as (
    select
        snapshots.*,
        bots.bot_name,
        bots.starting_value,
        greatest(
            bots.starting_value,
            max(snapshots.total_value) over (
                partition by snapshots.bot_id
                order by snapshots.snapshot_at
                rows between unbounded preceding and current row
            )
        ) as peak_value
    from snapshots
    inner join bots on snapshots.bot_id = bots.bot_id
),

final as (
    select
        bot_id,
        bot_name,
        snapshot_at,
        day,
        total_value,
        cash_value,
        crypto_value,
        {{ money('peak_value') }} as peak_value,
        {{ ratio('peak_value - total_value', 'peak_value') }} as drawdown,
        {{ ratio('total_value - starting_value', 'starting_value') }} as return_since_start,
        {{ ratio('crypto_value', 'total_value') }} as exposure
    from peaks
)

select * from final
