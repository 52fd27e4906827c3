{{ config(materialized='view') }}

with bots as (
    select * from {{ ref('stg_bots') }}
),

curve as (
    select * from {{ ref('int_equity_curve') }}
),

final as (
    select
        curve.bot_id,
        bots.bot_name,
        curve.snapshot_at,
        curve.day,
        curve.total_value,
        curve.cash_value,
        curve.crypto_value,
        curve.peak_value,
        curve.drawdown,
        curve.return_since_start,
        curve.exposure
    from curve
    inner join bots on curve.bot_id = bots.bot_id
)

select * from final
