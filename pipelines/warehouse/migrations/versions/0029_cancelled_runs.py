"""Runs that a person cancels say so."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

OLD = "running, done, failed or interrupted"
NEW = "running, cancelling, cancelled, done, failed or interrupted"


def upgrade() -> None:
    """Name the two states in the comment."""
    op.alter_column("strategy_runs", "status", comment=NEW, existing_comment=OLD)


def downgrade() -> None:
    """Back to the comment before; a run that was cancelled is one that was interrupted."""
    op.execute("UPDATE strategy_runs SET status = 'interrupted' WHERE status IN ('cancelling', 'cancelled')")
    op.alter_column("strategy_runs", "status", comment=OLD, existing_comment=NEW)
