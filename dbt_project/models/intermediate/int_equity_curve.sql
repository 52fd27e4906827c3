-- A row a snapshot, 525,600 a year and bot: built a day at a time. The peak goes on from the day before.
{{ config(
    materialized='incremental',
    incremental_strategy='microbatch',
    event_time='snapshot_at',
    batch_size='day',
    lookback=1,
    begin='2026-01-01',
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['bot_id', 'snapshot_at'], 'unique': true}, {'columns': ['day'], 'type': 'brin'}],
) }}

with bots as (
    select * from {{ ref('stg_bots') }}
),

snapshots as (
    select * from {{ ref('stg_bot_performance').render() }}
    where {{ in_batch('snapshot_at') }}
),

peaks_before as (
    select
        bots.bot_id,
        bots.starting_value,
        {% if goes_on_from('peak_value') -%}
        coalesce(earlier.peak_value, bots.starting_value) as peak_value
    from bots
    left join lateral (
        select curve.peak_value
        from {{ this }} as curve
        where curve.bot_id = bots.bot_id and curve.snapshot_at <= '{{ model.batch.event_time_start }}'
        order by curve.snapshot_at desc
        limit 1
    ) as earlier on true
        {%- else -%}
        bots.starting_value as peak_value
    from bots
        {%- endif %}
),

peaks as (
    select
        snapshots.*,
        peaks_before.starting_value,
        greatest(
            peaks_before.peak_value,
            max(snapshots.total_value) over (
                partition by snapshots.bot_id
                order by snapshots.snapshot_at
                rows between unbounded preceding and current row
            )
        ) as peak_value
    from snapshots
    inner join peaks_before on snapshots.bot_id = peaks_before.bot_id
),

final as (
    select
        bot_id,
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
