-- Slippage is how much worse than the close that was judged a fill was; a fill that no signal led to (a stop, an
-- order by hand) has none to compare with.
with fills as (
    select * from {{ ref('stg_trades') }}
),

bots as (
    select * from {{ ref('stg_bots') }}
),

signals as (
    select * from {{ ref('stg_signals') }}
),

judged as (
    select
        fills.*,
        case fills.side
            when 'buy' then fills.price - signals.price
            when 'sell' then signals.price - fills.price
        end * fills.quantity as slippage,
        signals.price * fills.quantity as judged_value
    from fills
    left join signals on fills.signal_id = signals.signal_id
),

days as (
    select
        bot_id,
        day,
        count(*) as fills,
        sum(value) as turnover,
        sum(fees) as fees,
        sum(slippage) as slippage,
        sum(judged_value) as judged_value,
        sum(pnl) as realised_pnl
    from judged
    group by bot_id, day
),

final as (
    select
        days.bot_id,
        bots.bot_name,
        bots.symbol,
        days.day,
        days.fills::integer as fills,
        {{ money('days.turnover') }} as turnover,
        {{ money('days.fees') }} as fees,
        {{ ratio('days.fees', 'days.turnover') }} as fee_rate,
        {{ money('coalesce(days.slippage, 0)') }} as slippage,
        {{ ratio('days.slippage', 'days.judged_value') }} as slippage_rate,
        {{ money('days.fees + coalesce(days.slippage, 0)') }} as costs,
        {{ money('coalesce(days.realised_pnl, 0)') }} as realised_pnl
    from days
    inner join bots on days.bot_id = bots.bot_id
)

select * from final
