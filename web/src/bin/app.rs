//! The page's thread: shows and asks. It links no model, so it is small and there at once.

fn main() {
    console_error_panic_hook::set_once();
    web::ui::dom::report(web::ui::page::start());
}
