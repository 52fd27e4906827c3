-- A round trip ends with each sell; its buys are those since the sell before. Bots are long or flat, so this is
-- the definition `bot_performance.total_trades` counts by, too.
with fills as (
    select * from {{ ref('stg_trades') }}
),

numbered as (
    select
        *,
        1 + coalesce(
            sum(case when side = 'sell' then 1 else 0 end) over (
                partition by bot_id
                order by traded_at, trade_id
                rows between unbounded preceding and 1 preceding
            ),
            0
        ) as trip_number
    from fills
),

trips as (
    select
        bot_id,
        trip_number,
        min(traded_at) filter (where side = 'buy') as entered_at,
        max(traded_at) filter (where side = 'sell') as exited_at,
        sum(value) filter (where side = 'buy')
        / sum(quantity) filter (where side = 'buy') as entry_price,
        max(price) filter (where side = 'sell') as exit_price,
        max(quantity) filter (where side = 'sell') as quantity,
        sum(value) as turnover,
        sum(fees) as fees,
        max(pnl) filter (where side = 'sell') as pnl
    from numbered
    group by bot_id, trip_number
),

final as (
    select
        bot_id,
        trip_number,
        entered_at,
        exited_at,
        {{ utc_day('exited_at') }} as exit_day,
        exited_at is not null as is_closed,
        pnl > 0 as is_winner,
        {{ money('entry_price') }} as entry_price,
        {{ money('exit_price') }} as exit_price,
        {{ money('quantity') }} as quantity,
        {{ money('turnover') }} as turnover,
        {{ money('fees') }} as fees,
        {{ money('pnl') }} as pnl,
        {{ money('pnl + fees') }} as pnl_before_fees,
        extract(epoch from exited_at - entered_at)::double precision as holding_seconds
    from trips
)

select * from final
