{#- The day a snapshot belongs to. A snapshot is labelled by the close of its candle, so the one at midnight
    closes the day before. -#}
{% macro closing_day(timestamp_column) -%}
    (({{ timestamp_column }} - interval '1 microsecond') at time zone 'UTC')::date
{%- endmacro %}

{#- The day an instant belongs to: fills happen in [00:00, 24:00) UTC. -#}
{% macro utc_day(timestamp_column) -%}
    ({{ timestamp_column }} at time zone 'UTC')::date
{%- endmacro %}

{#- A ratio that is null, not an error, where there is nothing to divide by. -#}
{% macro ratio(numerator, denominator) -%}
    (({{ numerator }})::double precision / nullif(({{ denominator }})::double precision, 0))
{%- endmacro %}

{#- The type of every amount: the scale of the source tables, whatever an aggregate made of it. -#}
{% macro money(expression) -%}
    ({{ expression }})::numeric(38, 18)
{%- endmacro %}

{#- Seconds of a candle of a timeframe such as 15m, 4h or 1d. -#}
{% macro timeframe_seconds(timeframe_column) -%}
    (left({{ timeframe_column }}, -1)::integer * case right({{ timeframe_column }}, 1)
        when 'm' then 60
        when 'h' then 3600
        when 'd' then 86400
    end)
{%- endmacro %}

{#- Return a day that compounds to a total return; null below an hour, and where the power is too large a number. -#}
{% macro daily_growth(total_return, days) -%}
    (case
        when {{ days }} < 1.0 / 24 then null
        when {{ total_return }} <= -1 then -1
        when abs(ln(1 + {{ total_return }})) / {{ days }} < 690 then exp(ln(1 + {{ total_return }}) / {{ days }}) - 1
    end)
{%- endmacro %}
