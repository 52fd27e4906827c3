{#- Rows of the batch (a UTC day) that is being built: labels in (start, end], as a candle is labelled by its
    close. dbt's own filter on `event_time` is [start, end), which would put each midnight into the wrong day,
    and on a shifted column it could use no index: so inputs are `.render()`ed without it. Every row where there
    is no batch, which is in unit tests. -#}
{% macro in_batch(label_column) -%}
    {%- if model.get('batch') -%}
        {{ label_column }} > '{{ model.batch.event_time_start }}' and {{ label_column }} <= '{{ model.batch.event_time_end }}'
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{#- Whether the rows of earlier batches are there to go on from. dbt's own is_incremental() says no in every batch
    of a full refresh, not in the first one alone; a table of an older definition may lack the column. -#}
{% macro goes_on_from(column) -%}
    {%- set table = load_relation(this) if execute else none -%}
    {%- set names = adapter.get_columns_in_relation(table) | map(attribute='name') | list if table is not none and table.is_table else [] -%}
    {{ return(column in names) }}
{%- endmacro %}

{#- A batch takes the place of the days it covers. dbt-postgres would merge by key instead, row by row against
    the whole table, and rows that are gone would stay. Microbatch models have a column `day` with an index. -#}
{% macro postgres__get_incremental_microbatch_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }}
    where day >= '{{ model.batch.event_time_start }}'::date and day < '{{ model.batch.event_time_end }}'::date;

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }};
{% endmacro %}
