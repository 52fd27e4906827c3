"""What a newcomer does in the browser, from the form of a bot to its first trade and its end."""

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

NAME = "story"


@dataclass(frozen=True)
class Story:
    """One bot's life on the pages of a dashboard at `url`, whose market trades and whose database has a
    sweep of the symbol that the bot trades."""

    page: Page
    url: str

    def tell(self) -> None:
        """Create, trade, backtest, promote, stop."""
        self.create()
        self.see_its_first_trade()
        self.backtest_it()
        self.promote_a_sweep()
        self.stop()

    def create(self) -> None:
        """A mistake is told beside its field; corrected, the bot is made and runs."""
        page = self.page
        page.goto(f"{self.url}/bots?new=1")
        page.get_by_label("Bot id").fill(NAME)
        page.get_by_label("Fast period").fill("90")
        expect(page.locator(".mantine-InputWrapper-error")).to_contain_text("must be less than slow_period")
        page.get_by_label("Fast period").fill("2")
        page.get_by_label("Slow period").fill("4")
        expect(page.locator(".mantine-InputWrapper-error")).to_have_count(0)
        page.get_by_text("Exits and sizes").click()
        page.get_by_label("Stop loss").fill("0.2")
        page.get_by_role("button", name="Create bot").click()
        expect(page).to_have_url(re.compile(f"bot={NAME}"))
        expect(page.locator("#toasts")).to_contain_text(f"{NAME} was created")
        expect(self.row.locator(".state")).to_have_text("Running")

    def see_its_first_trade(self) -> None:
        """Signals come with indicator values; the first buy is a row of the trades."""
        page = self.page
        page.get_by_role("link", name="Signals").click()
        page.wait_for_selector("#bot-rows .ag-row")
        expect(page.locator('#bot-rows [row-index="0"] [col-id="indicators"]')).to_contain_text("ema fast")
        page.get_by_role("link", name="Trades", exact=True).click()
        page.wait_for_selector("#bot-rows .ag-row")
        expect(page.locator('#bot-rows [col-id="side"]:has-text("Buy")').first).to_be_visible()

    def backtest_it(self) -> None:
        """The form of a backtest begins with the bot's settings; the run takes its stop along."""
        page = self.page
        page.get_by_role("link", name="Backtest it").click()
        expect(page.get_by_label("Fast period")).to_have_value("2")
        page.locator("#run").click()
        page.wait_for_selector(".run-result")
        expect(page.locator(".run-heading")).to_contain_text("stop loss 0.2")

    def promote_a_sweep(self) -> None:
        """The best row of the sweep is a bot in two clicks."""
        page = self.page
        page.goto(f"{self.url}/sweeps")
        page.get_by_role("button", name="Promote the best to a bot").click()
        expect(page.get_by_label("Name")).to_have_value("ema_crossover_1")
        page.get_by_role("button", name="Create bot").click()
        expect(page.locator("#toasts")).to_contain_text("ema_crossover_1 was created")

    def stop(self) -> None:
        """Stopped on its row; deleted it is gone from the list, and its trades are still there."""
        page = self.page
        page.goto(f"{self.url}/bots?bot={NAME}&tab=history")
        self.row.get_by_role("button", name=f"Stop {NAME}").click()
        expect(self.row.locator(".state")).to_have_text("Stopped")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(self.row).to_have_count(0)
        page.get_by_role("link", name="Trades", exact=True).click()
        expect(page.get_by_text("This bot was deleted")).to_be_visible()
        page.wait_for_selector("#bot-rows .ag-row")

    @property
    def row(self) -> Locator:
        """Its line in the list of bots."""
        return self.page.locator(f'[data-bot-row="{NAME}"]')
