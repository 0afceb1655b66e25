"""A headless Chromium that is used as a person uses one: by the words on the page, once they are there."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")

#: Seconds to wait for anything, on a machine that has much else to do.
PATIENCE = 300

ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # it runs as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # Nothing but Airflow is asked for anything: not Chromium's own services, nor where a link leads.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--lang=en",
)


def button(name: str) -> str:
    """Return where a button is that shows this name, or has it for a screen reader."""
    return f'//button[normalize-space()="{name}" or @aria-label="{name}"]'


def link(name: str) -> str:
    """Return where a link of this name is."""
    return f'//a[normalize-space()="{name}"]'


@dataclass(frozen=True)
class Field:
    """A field of a form.

    :param type: of its input element.
    :param placeholder: what it shows while it is empty, ``""`` for nothing.
    :param value: what it holds.
    :param help: the text below it, ``""`` for none.
    """

    type: str
    placeholder: str
    value: str
    help: str


class Browser:
    """A browser for the time of a ``with`` block.

    :param pictures: the folder that :meth:`picture` writes to.
    """

    def __init__(self, pictures: Path) -> None:
        self._pictures = pictures

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            options = ChromeOptions()
            options.binary_location = os.environ.get("CHROMIUM", "/usr/bin/chromium")
            profile = entered.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
                options.add_argument(argument)
            service = ChromeService(os.environ.get("CHROMEDRIVER", "/usr/bin/chromedriver"))
            self._driver = Chrome(options, service)
            entered.callback(self._driver.quit)
            self._exit = entered.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.close()

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The address of the page."""
        return self._driver.current_url

    def text(self, within: str = "//body") -> str:
        """Return what can be read in an element, as soon as it can be seen; default the whole page."""
        return self.wait_until(f"a text at {within}", lambda: self._visible(within).text)

    def see(self, words: str, within: str = "//body") -> str:
        """Wait for words, and return all that is to be read there."""

        def text() -> str | None:
            read = self._visible(within).text
            return read if words in read else None

        return self.wait_until(f"{words!r} at {within}", text)

    def match(self, pattern: str, within: str = "//body") -> re.Match[str]:
        """Wait for words that match a regular expression."""
        return self.wait_until(f"{pattern!r} at {within}", lambda: re.search(pattern, self._visible(within).text))

    def shows(self, target: str) -> bool:
        """Whether an element can be seen now."""
        return any(each.is_displayed() for each in self._driver.find_elements(By.XPATH, target))

    def attribute(self, name: str, of: str) -> str:
        """Return an attribute of an element, as soon as it can be seen."""
        return self.wait_until(f"{name} of {of}", lambda: self._visible(of).get_attribute(name) or "")

    def fields(self, within: str) -> dict[str, Field]:
        """Return the fields of a form that can be seen in an element, by their labels."""

        def fields() -> dict[str, Field]:
            found = self._driver.find_elements(By.XPATH, f'{within}//*[@role="group" and @data-scope="field"]')
            return dict(map(_read_field, [field for field in found if field.is_displayed()]))

        return self.wait_until(f"fields in {within}", fields)

    def picture(self, name: str, of: str = "//body") -> None:
        """Keep what an element looks like once nothing on the page moves, as a PNG file."""
        self.wait_until("the page to stand still", lambda: not self._driver.execute_script(_MOVES))
        self._visible(of).screenshot(str(self._pictures / f"{name}.png"))

    # --- doing -------------------------------------------------------------------------------------------------------

    def open(self, address: str) -> None:
        """Go to an address."""
        self._driver.get(address)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page, in pixels."""
        self._driver.set_window_size(width, height)
        # What is around the page counts, too.
        inner = self._driver.execute_script("return [window.innerWidth, window.innerHeight]")
        self._driver.set_window_size(2 * width - inner[0], 2 * height - inner[1])

    def click(self, target: str) -> None:
        """Click on an element, as soon as that can be done."""

        def click() -> bool:
            self._visible(target).click()
            return True

        self.wait_until(f"{target} to take a click", click)

    def click_until(self, words: str, within: str, target: str) -> str:
        """Click on what is there, again and again, until words can be read. Return all that is to be read there.

        :param within: where the words are to be read.
        :param target: where to click.
        """

        def text() -> str | None:
            read = self._visible(within).text
            if words in read:
                return read
            self._visible(target).click()
            return None

        return self.wait_until(f"{words!r} at {within}", text)

    def fill(self, target: str, text: str) -> None:
        """Have a field hold a text, and nothing else."""

        def fill() -> bool:
            field = self._visible(target)
            field.send_keys(Keys.CONTROL, "a")
            field.send_keys(Keys.DELETE, text)
            return field.get_attribute("value") == text

        self.wait_until(f"{target} to hold the text", fill)

    def choose(self, target: str, option: str) -> None:
        """Choose from a field that offers what begins with the typed text."""
        self.fill(target, option)
        self.click(f'//*[@role="option" and normalize-space()="{option}"]')

    def follow(self, target: str) -> str:
        """Click on a link that opens a tab of its own; close that again, and return where it went."""
        home = self._driver.current_window_handle
        self.click(target)
        (tab,) = self.wait_until("another tab", lambda: [each for each in self._driver.window_handles if each != home])
        self._driver.switch_to.window(tab)
        try:
            return self.wait_until("an address", lambda: self.address.removeprefix("about:blank"))
        finally:
            self._driver.close()
            self._driver.switch_to.window(home)

    # --- waiting -----------------------------------------------------------------------------------------------------

    def wait_until(self, what: str, condition: Callable[[], T]) -> T:
        """Wait until a condition is true and return what it says.

        A page that is drawn anew while it is read is read again.

        :param what: what is awaited, for the error.
        :raises AssertionError: it is not true in time; the message shows the page, and so does the picture ``failure``.
        """

        def ask(_: Any) -> T | None:
            try:
                return condition() or None
            except WebDriverException:
                return None

        try:
            return WebDriverWait(self._driver, PATIENCE).until(ask)  # type: ignore[return-value]
        except TimeoutException:
            self._driver.save_screenshot(str(self._pictures / "failure.png"))
            page = self._driver.find_element(By.TAG_NAME, "body").text
            raise AssertionError(f"Waited in vain for {what}. {self.address} shows:\n{page}") from None

    def _visible(self, target: str) -> WebElement:
        """Return the first of the elements there that can be seen."""
        for element in self._driver.find_elements(By.XPATH, target):
            if element.is_displayed():
                return element
        raise WebDriverException(f"nothing to be seen at {target}")


#: Whether anything that is to be seen moves, fades, or holds the place of what is still to come.
_MOVES = """return document.getAnimations().some(
    each => each.playState === "running" && each.effect.target.checkVisibility({visibilityProperty: true})
)"""


def _read_field(field: WebElement) -> tuple[str, Field]:
    """Return a field's label, and what it shows."""
    control = field.find_element(By.XPATH, ".//input | .//textarea")
    texts = field.find_elements(By.XPATH, './/*[@data-part="helper-text"]')
    return field.find_element(By.TAG_NAME, "label").text.strip(), Field(
        type=control.get_attribute("type") or "",
        placeholder=control.get_attribute("placeholder") or "",
        value=control.get_attribute("value") or "",
        help=" ".join(each.text for each in texts),
    )
