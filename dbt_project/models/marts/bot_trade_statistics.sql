with bots as (
    select * from {{ ref('stg_bots') }}
),

fills as (
    select
        bot_id,
        count(*) as fills,
        sum(fees) as fees,
        sum(value) as turnover,
        max(traded_at) as last_fill_at
    from {{ ref('stg_trades') }}
    group by bot_id
),

trips as (
    select
        bot_id,
        count(*) as closed_trades,
        count(*) filter (where is_winner) as winning_trades,
        sum(pnl) as realised_pnl,
        coalesce(sum(pnl) filter (where pnl > 0), 0) as gross_profit,
        coalesce(-sum(pnl) filter (where pnl < 0), 0) as gross_loss,
        max(pnl) as best_trade,
        min(pnl) as worst_trade,
        avg(holding_seconds) as average_holding_seconds
    from {{ ref('int_round_trips') }}
    where is_closed
    group by bot_id
),

final as (
    select
        bots.bot_id,
        bots.bot_name,
        bots.strategy_name,
        bots.symbol,
        coalesce(fills.fills, 0)::integer as fills,
        coalesce(trips.closed_trades, 0)::integer as closed_trades,
        coalesce(trips.winning_trades, 0)::integer as winning_trades,
        {{ ratio('trips.winning_trades', 'trips.closed_trades') }} as win_rate,
        {{ money('coalesce(trips.realised_pnl, 0)') }} as realised_pnl,
        {{ money('coalesce(trips.gross_profit, 0)') }} as gross_profit,
        {{ money('coalesce(trips.gross_loss, 0)') }} as gross_loss,
        {{ ratio('trips.gross_profit', 'trips.gross_loss') }} as profit_factor,
        {{ ratio('trips.realised_pnl', 'trips.closed_trades') }} as expectancy,
        {{ money('trips.best_trade') }} as best_trade,
        {{ money('trips.worst_trade') }} as worst_trade,
        {{ money('coalesce(fills.fees, 0)') }} as fees,
        {{ money('coalesce(fills.turnover, 0)') }} as turnover,
        trips.average_holding_seconds,
        fills.last_fill_at
    from bots
    left join fills on bots.bot_id = fills.bot_id
    left join trips on bots.bot_id = trips.bot_id
)

select * from final
