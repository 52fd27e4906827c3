{#- dbt-postgres makes a view beside the old one and then drops that with every view that stands on it: the curve
    that the portfolio page reads would be gone in each build until its turn came. A view whose columns stay is
    replaced in place; one with other columns goes with what stands on it, which the same build makes again. -#}
{% materialization view, adapter='postgres' %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set target = this.incorporate(type='view') -%}
    {%- set sample = make_intermediate_relation(target) -%}
    {{ drop_relation_if_exists(load_cached_relation(sample)) }}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% call statement('main') -%}
        {{ get_create_view_as_sql(sample, sql) }}
    {%- endcall %}
    {% if existing is not none and existing.is_view and column_types(existing) == column_types(sample) %}
        {% call statement('replace') -%}
            {{ get_replace_view_sql(target, sql) }}
        {%- endcall %}
        {% do adapter.drop_relation(sample) %}
    {% else %}
        {% do drop_relation_if_exists(existing) %}
        {% do adapter.rename_relation(sample, target) %}
    {% endif %}

    {% do persist_docs(target, model) %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{#- Names and types of a relation's columns, in their order. -#}
{% macro column_types(relation) %}
    {%- set found = [] -%}
    {%- for column in adapter.get_columns_in_relation(relation) -%}
        {%- do found.append((column.name, column.data_type)) -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}
