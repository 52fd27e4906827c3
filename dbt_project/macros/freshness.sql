{#- When the newest row of a table of the bots was due to be followed, by the wall clock: each bot writes one a
    candle, at the exchange's time, which may run at any rate. So it is as late as the daemon's last word, and
    before that as the exchange's time is past the end of the next candle. Where no bot is to run, none is due. -#}
{% macro bots_row_due(table) -%}
    select case when count(*) = 0 then now() else
        max(alive.timestamp) - greatest(max(alive.exchange_time) - max(newest.at + make_interval(secs => {{ timeframe_seconds('bots.timeframe') }})), interval '0')
    end
    from public.bots
    cross join lateral (select max(rows.timestamp) as at from public.{{ table }} as rows where rows.bot_id = bots.id) as newest
    left join public.heartbeats as alive on alive.component = 'live'
    where bots.status = 'active' and bots.deleted_at is null
{%- endmacro %}
