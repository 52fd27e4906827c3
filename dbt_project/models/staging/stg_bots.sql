with source as (
    select * from {{ source('public', 'bots') }}
),

final as (
    select
        id as bot_id,
        name as bot_name,
        strategy_name,
        symbol,
        split_part(symbol, '-', 2) as quote,
        timeframe,
        status,
        state,
        virtual_balance as starting_value,
        current_balance as current_value,
        variant,
        last_heartbeat as last_heartbeat_at,
        deleted_at is not null as is_deleted,
        created_at
    from source
)

select * from final
