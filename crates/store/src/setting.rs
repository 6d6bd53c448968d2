//! Settings that belong to a store and not to a command: text by name. What they mean is others' business.

use rusqlite::OptionalExtension;

use crate::{Result, Store};

impl Store {
    /// A setting of the store, as text; `None` where it was never set.
    pub fn setting(&self, name: &str) -> Result<Option<String>> {
        self.db().read(|c| {
            let sql = "SELECT value FROM settings WHERE name = ?1";
            Ok(c.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
        })
    }

    /// Sets a setting of the store, or takes it back.
    pub fn set_setting(&self, name: &str, value: Option<&str>) -> Result<()> {
        self.db().write(|tx| {
            match value {
                Some(value) => tx
                    .prepare_cached("INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)")?
                    .execute([name, value])?,
                None => tx.prepare_cached("DELETE FROM settings WHERE name = ?1")?.execute([name])?,
            };
            Ok(())
        })
    }
}
