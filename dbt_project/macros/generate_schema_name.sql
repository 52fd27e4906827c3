{#- The schema is the name it is given: `marts` is a contract with the dashboard and with scripts, so it
    carries no target prefix. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ target.schema if custom_schema_name is none else custom_schema_name | trim }}
{%- endmacro %}
