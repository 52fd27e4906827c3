with bots as (
    select * from {{ ref('stg_bots') }}
),

statistics as (
    select * from {{ ref('bot_trade_statistics') }}
),

stretches as (
    select * from {{ ref('int_equity_stretches') }}
),

newest as (
    select distinct on (bot_id)
        bot_id,
        last_at as snapshot_at,
        closing_value as total_value,
        closing_drawdown as drawdown
    from stretches
    order by bot_id, last_at desc
),

worst as (
    select
        bot_id,
        max(max_drawdown) as max_drawdown
    from stretches
    group by bot_id
),

valued as (
    select
        bots.bot_id,
        bots.bot_name,
        bots.strategy_name,
        bots.symbol,
        bots.timeframe,
        bots.status,
        bots.starting_value,
        {{ money('coalesce(newest.total_value, bots.starting_value)') }} as current_value,
        newest.snapshot_at,
        coalesce(newest.drawdown, 0) as drawdown,
        coalesce(worst.max_drawdown, 0) as max_drawdown,
        statistics.closed_trades,
        statistics.win_rate,
        statistics.profit_factor,
        statistics.realised_pnl,
        statistics.fees
    from bots
    inner join statistics on bots.bot_id = statistics.bot_id
    left join newest on bots.bot_id = newest.bot_id
    left join worst on bots.bot_id = worst.bot_id
    where not bots.is_deleted
),

returns as (
    select
        *,
        {{ money('current_value - starting_value') }} as pnl,
        {{ ratio('current_value - starting_value', 'starting_value') }} as total_return
    from valued
),

final as (
    select
        (rank() over (order by total_return desc nulls last))::integer as place,
        bot_id,
        bot_name,
        strategy_name,
        symbol,
        timeframe,
        status,
        starting_value,
        current_value,
        pnl,
        total_return,
        drawdown,
        max_drawdown,
        closed_trades,
        win_rate,
        profit_factor,
        realised_pnl,
        fees,
        snapshot_at
    from returns
)

select * from final
