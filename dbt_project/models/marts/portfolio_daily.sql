with bots as (
    select * from {{ ref('stg_bots') }}
),

-- The same bots as in bot_leaderboard: one page shows both, and their sums must be those of one account. Amounts
-- of different currencies are not added up.
daily as (
    select
        bots.quote,
        earned.*
    from {{ ref('bot_daily_pnl') }} as earned
    inner join bots on earned.bot_id = bots.bot_id
    where not bots.is_deleted
),

summed as (
    select
        quote,
        day,
        count(*)::integer as bots,
        sum(opening_value) as opening_value,
        sum(closing_value) as closing_value,
        sum(pnl) as pnl,
        sum(realised_pnl) as realised_pnl,
        sum(fees) as fees,
        sum(turnover) as turnover,
        sum(closed_trades)::integer as closed_trades
    from daily
    group by quote, day
),

returns as (
    select
        *,
        {{ ratio('pnl', 'opening_value') }} as return_fraction,
        sum(pnl) over (partition by quote order by day rows unbounded preceding) as cumulative_pnl
    from summed
),

-- Chained returns, not summed values: a bot that joins brings cash, and cash is no profit.
grown as (
    select
        *,
        -- exp of a sum of logarithms is exact to about 15 digits: 12 are kept, so that 1.1 * 0.9 reads 0.99
        round(
            exp(sum(ln(greatest(1 + return_fraction, 1e-12))) over (partition by quote order by day rows unbounded preceding))::numeric,
            12
        ) as growth
    from returns
),

peaks as (
    select
        *,
        greatest(1, max(growth) over (partition by quote order by day rows unbounded preceding)) as peak_growth
    from grown
),

final as (
    select
        quote,
        day,
        bots,
        {{ money('opening_value') }} as opening_value,
        {{ money('closing_value') }} as closing_value,
        {{ money('pnl') }} as pnl,
        return_fraction,
        {{ money('cumulative_pnl') }} as cumulative_pnl,
        growth::double precision as growth,
        ((peak_growth - growth) / peak_growth)::double precision as drawdown,
        {{ money('realised_pnl') }} as realised_pnl,
        {{ money('fees') }} as fees,
        {{ money('turnover') }} as turnover,
        closed_trades
    from peaks
)

select * from final
