"""Logs in at the management page at PORT in a headless Chromium and writes a picture of it to the file PICTURE."""

import sys

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PORT, PICTURE = sys.argv[1:]
LIMIT = 180

options = webdriver.ChromeOptions()
options.binary_location = "/usr/bin/chromium"
for argument in "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900":
    options.add_argument(argument)
browser = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
try:
    browser.set_page_load_timeout(LIMIT)
    browser.get(f"http://127.0.0.1:{PORT}/")
    wait = WebDriverWait(browser, LIMIT)
    wait.until(lambda page: page.find_elements(By.NAME, "username"))
    browser.find_element(By.NAME, "username").send_keys("guest")
    browser.find_element(By.NAME, "password").send_keys("guest")
    browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
    wait.until(lambda page: "rabbit@rabbit" in page.page_source and "Totals" in page.page_source)
    browser.save_screenshot(PICTURE)
    print("the page", browser.title, "shows", browser.find_element(By.TAG_NAME, "h1").text)
finally:
    browser.quit()
