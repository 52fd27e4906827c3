"""What each bot does, with its strategy's defaults, as backtests are kept: so that models find its own."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty until the daemon reads the bot's file again."""
    op.add_column(
        "bots",
        sa.Column(
            "variant",
            JSONB,
            comment="all parameters, risk and execution, as a backtest of it is kept; "
            "null: none can do it, or not known",
        ),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_column("bots", "variant")
