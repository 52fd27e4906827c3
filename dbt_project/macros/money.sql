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
