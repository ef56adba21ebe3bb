def test_login_page(page, watch):
    page.goto("/login")
    assert page.locator("input[name=email]").count() == 1
def test_fault_is_seen(page, watch):
    page.goto("/nothing-here")
    print(watch.faults)
    assert watch.faults; watch.faults.clear()
def test_no_script(new_page):
    p = new_page(java_script_enabled=False)
    p.goto("/login")
