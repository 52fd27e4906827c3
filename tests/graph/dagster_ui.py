"""What a person clicks in Dagster's UI to launch something."""

from playwright.sync_api import Page, expect

WAIT_MS = 120_000
"""The pages fetch megabytes of scripts and the workspace; on a busy machine that takes a while."""


def materialize(page: Page, url: str, asset: str, dates: str, symbol: str) -> str:
    """Choose partitions of an asset in its dialog and launch them; what the button said.

    dates: as the field takes them, 2026-03-01 or [2026-03-01...2026-03-02]
    """
    page.goto(f"{url}/assets/{asset}")
    page.get_by_role("button", name="Materialize…").click(timeout=WAIT_MS)
    dialog = page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
    field = dialog.get_by_placeholder("ex: ")
    field.fill(dates, timeout=WAIT_MS)
    field.press("Enter")
    dialog.get_by_text("Select a partition").click()
    page.get_by_role("menuitem", name=symbol).click()
    page.keyboard.press("Escape")
    button = dialog.get_by_role("button", name="Launch ")
    said = button.inner_text()
    button.click()
    expect(dialog).to_have_count(0, timeout=WAIT_MS)
    return said


def launch_from_launchpad(page: Page, url: str, job: str) -> str:
    """Launch a job with the config that its launchpad proposes; the id of the run, whose page opens."""
    page.goto(f"{url}/locations/tcp/jobs/{job}/playground")
    expect(page.get_by_text("No errors")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Launch Run").click()
    page.wait_for_url("**/runs/*", timeout=WAIT_MS)
    return page.url.rsplit("/", 1)[1].partition("?")[0]


def show_lineage(page: Page, url: str, asset: str) -> None:
    """Open the graph of what is above an asset, all steps up, and wait until its nodes are drawn."""
    page.goto(f"{url}/assets/{asset}?view=lineage&lineageScope=upstream&lineageDepth=6")
    last = asset.rsplit("/", 1)[1]
    expect(page.locator("foreignObject").filter(has_text=last).first).to_be_visible(timeout=WAIT_MS)
