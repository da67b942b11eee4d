//! The page in a real browser.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{browser::Browser, made, report, written};

/// The directory of pages and screenshots, which are kept for review.
fn artefacts() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// The number of colours of a picture, and its size.
fn colours(png: &[u8]) -> (usize, u32, u32) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut buffer).unwrap();
    let pixels: HashSet<_> =
        buffer[..frame.buffer_size()].chunks(frame.color_type.samples()).collect();
    (pixels.len(), frame.width, frame.height)
}

/// The page of [`made::night`], saved beside the screenshots.
fn night(name: &str) -> (PathBuf, &'static made::Truth) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("night.itrec");
    let truth = made::night(&file);
    let page = artefacts().join(format!("{name}.html"));
    written(&report(&[&file], &["--force", "-o", page.to_str().unwrap()]));
    (page, truth)
}

/// Finds texts with less contrast than WCAG 2 requires (4.5 to 1), each with its contrast.
const CONTRAST: &str = "(() => {
    const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (rgb) => rgb.slice(0, 3).map((it) => it / 255)
        .map((it) => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4)
        .reduce((sum, it, at) => sum + it * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = (element) => {
        for (let it = element; it; it = it.parentElement) {
            const colour = parse(getComputedStyle(it).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return colour;
        }
    };
    const faint = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || element.closest('svg, script')) continue;
        const both = [parse(getComputedStyle(element).color), behind(element)].map(light);
        const ratio = (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
        if (ratio < 4.5) faint.push([texts.currentNode.data, ratio]);
    }
    return faint;
})()";

#[test]
fn it_can_be_looked_at_in_light_and_dark_and_on_a_phone() {
    let Some(mut browser) = Browser::start("report: it_can_be_looked_at") else { return };
    let (page, _) = night("looks");
    let mut backgrounds = HashSet::new();
    for (name, scheme, width) in
        [("light", "light", 1280), ("dark", "dark", 1280), ("phone", "dark", 375)]
    {
        browser.size(width, 800);
        browser.scheme(scheme);
        browser.open(&page);
        let wide = browser.eval("document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= u64::from(width), "{name} is {wide} wide");
        let picture = browser.screenshot();
        fs::write(artefacts().join(format!("{name}.png")), &picture).unwrap();
        let (colours, shown, height) = colours(&picture);
        assert!(colours > 50 && shown == width && height > 1500, "{name}: {colours} {height}");
        assert_eq!(browser.complaints(&page), [] as [&serde_json::Value; 0]);
        let faint = browser.eval(CONTRAST);
        assert_eq!(faint, json!([]), "{name}: too little contrast");
        let background = browser.eval("getComputedStyle(document.body).backgroundColor");
        backgrounds.insert(background.as_str().unwrap().to_owned());
    }
    assert_eq!(backgrounds.len(), 2, "light and dark: {backgrounds:?}");
    // Wide content is in scrollable boxes, which the keyboard can focus.
    let boxes = browser.eval(
        "[...document.querySelectorAll('.scroll')].every(it => it.tabIndex === 0 && \
         getComputedStyle(it).overflowX === 'auto')",
    );
    assert_eq!(boxes, true);
    // On a phone tables are cut, and a shadow that stays at the edge says so.
    let cut = browser.eval(
        "[...document.querySelectorAll('.scroll')].filter(it => it.scrollWidth > it.clientWidth && \
         getComputedStyle(it).backgroundAttachment === 'local, local, scroll, scroll').length",
    );
    assert!(cut.as_u64().unwrap() >= 2, "{cut} tables are cut");
}

#[test]
fn tables_are_sorted_and_filtered() {
    let Some(mut browser) = Browser::start("report: tables_are_sorted") else { return };
    let (page, truth) = night("tables");
    browser.size(1280, 800);
    browser.open(&page);
    let column = "(() => { const box = document.querySelector('[data-name=Containers]'); \
         const heads = [...box.querySelectorAll('th')]; \
         const at = heads.findIndex(it => it.textContent === 'PEAK'); \
         return { sort: heads[at].getAttribute('aria-sort'), \
         values: [...box.querySelectorAll('tbody tr')].map(it => Number(it.cells[at].textContent)) }; })()";
    let click = "[...document.querySelectorAll('[data-name=Containers] th button')]\
         .find(it => it.textContent === 'PEAK').click()";
    let sorted = |browser: &mut Browser| {
        let found = browser.eval(column);
        let values: Vec<_> =
            found["values"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect();
        (found["sort"].clone(), values)
    };
    let (sort, before) = sorted(&mut browser);
    assert_eq!(sort, json!(null));
    assert!(before.len() >= 3 && before[0] == truth.leaky_app, "{before:?}");
    browser.eval(click);
    let (sort, down) = sorted(&mut browser);
    assert!(sort == "descending" && down.is_sorted_by(|a, b| a >= b), "{sort} {down:?}");
    browser.eval(click);
    let (sort, up) = sorted(&mut browser);
    assert!(sort == "ascending" && up.is_sorted() && up != down, "{sort} {up:?}");

    // Uses the keyboard: the button has the focus, and Enter presses it.
    browser.eval("document.querySelector('[data-name=Processes] th button').focus()");
    for kind in ["keyDown", "keyUp"] {
        let key = json!({ "type": kind, "key": "Enter", "code": "Enter", "text": "\r",
                          "windowsVirtualKeyCode": 13 });
        browser.call("Input.dispatchKeyEvent", key);
    }
    let sort = browser
        .eval("document.querySelector('[data-name=Processes] th').getAttribute('aria-sort')");
    assert_eq!(sort, "descending");

    let typed = |text: &str| {
        format!(
            "(() => {{ const box = document.querySelector('[data-name=Processes]'); \
             const input = box.querySelector('input'); input.value = '{text}'; \
             input.dispatchEvent(new Event('input')); \
             return {{ rows: [...box.querySelectorAll('tbody tr')].filter(it => it.offsetHeight > 0).length, \
             said: box.querySelector('output').textContent }}; }})()"
        )
    };
    let all = made::DAEMONS + 2;
    for (text, rows, said) in [
        ("daemon-0", 10, format!("10 of {all}")),
        ("DAEMON root 03", 1, format!("1 of {all}")),
        ("nobody", 0, format!("0 of {all}")),
        ("", all, String::new()),
    ] {
        assert_eq!(browser.eval(&typed(text)), json!({ "rows": rows, "said": said }), "{text}");
    }
    assert_eq!(browser.complaints(&page), [] as [&serde_json::Value; 0]);
}

#[test]
fn without_a_script_all_of_it_is_there() {
    let Some(mut browser) = Browser::start("report: without_a_script") else { return };
    let (page, truth) = night("still");
    browser.scripts(false);
    browser.open(&page);
    // Reads the tree through the protocol, since the page's scripts do not run.
    let tree = browser.call("DOM.getDocument", json!({ "depth": 0 }));
    let body = json!({ "nodeId": tree["root"]["nodeId"], "selector": "body" });
    let body = browser.call("DOM.querySelector", body);
    let html = browser.call("DOM.getOuterHTML", json!({ "nodeId": body["nodeId"] }));
    let html = html["outerHTML"].as_str().unwrap();
    assert!(!html.contains("<button") && !html.contains("<input"), "the script did not run");
    for fact in [
        format!("leaky-app (3550) in prod/shop-5d8f/web {}", truth.leaky_app),
        format!("holds {} instances whose containers", truth.shim),
        format!("{} times from 02:", truth.refused),
    ] {
        assert!(html.contains(&fact), "{fact}");
    }
    let tree = browser.call("Accessibility.getFullAXTree", json!({}));
    let tree = tree.to_string();
    assert!(tree.contains("Instances charged to root, of 128"), "charts have names");
    assert!(tree.contains("at most 128 of 128 instances"), "and descriptions");
}
