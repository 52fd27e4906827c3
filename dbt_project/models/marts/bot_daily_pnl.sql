with bots as (
    select * from {{ ref('stg_bots') }}
),

equity as (
    select * from {{ ref('int_daily_equity') }}
),

fills as (
    select
        bot_id,
        day,
        count(*) as fills,
        sum(fees) as fees,
        sum(value) as turnover
    from {{ ref('stg_trades') }}
    group by bot_id, day
),

trips as (
    select
        bot_id,
        exit_day as day,
        count(*) as closed_trades,
        count(*) filter (where is_winner) as winning_trades,
        sum(pnl) as realised_pnl
    from {{ ref('int_round_trips') }}
    where is_closed
    group by bot_id, exit_day
),

final as (
    select
        equity.bot_id,
        bots.bot_name,
        bots.strategy_name,
        bots.symbol,
        equity.day,
        equity.opening_value,
        equity.closing_value,
        {{ money('equity.closing_value - equity.opening_value') }} as pnl,
        {{ ratio('equity.closing_value - equity.opening_value', 'equity.opening_value') }} as return_fraction,
        {{ money('coalesce(trips.realised_pnl, 0)') }} as realised_pnl,
        {{ money('coalesce(fills.fees, 0)') }} as fees,
        {{ money('coalesce(fills.turnover, 0)') }} as turnover,
        coalesce(fills.fills, 0)::integer as fills,
        coalesce(trips.closed_trades, 0)::integer as closed_trades,
        coalesce(trips.winning_trades, 0)::integer as winning_trades
    from equity
    inner join bots on equity.bot_id = bots.bot_id
    left join fills on equity.bot_id = fills.bot_id and equity.day = fills.day
    left join trips on equity.bot_id = trips.bot_id and equity.day = trips.day
)

select * from final
