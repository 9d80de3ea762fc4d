//! Runs whose funnel says `on_change: migrate` go on in its present version.

use super::Turn;
use crate::customer::RunState;
use crate::fact::What;
use crate::funnel::plan::{Fate, fate};
use std::sync::Arc;

impl Turn<'_> {
    /// Moves runs to the present version of their funnel. One whose effect is on its way is moved when it has come
    /// to rest again: the answer is meant for the step that it asked for. True: one of them has something to do now.
    pub(super) fn move_runs(&mut self) -> bool {
        let live = self.customer.runs.iter().filter(|run| run.is_live() && !matches!(run.state, RunState::Effect { .. }));
        let numbers: Vec<u64> = live.map(|run| run.id).collect();
        for number in numbers {
            let Some(index) = self.customer.runs.iter().position(|run| run.id == number) else { continue };
            self.move_run(index);
        }
        self.customer.runs.iter().any(|run| run.state == RunState::Ready)
    }

    fn move_run(&mut self, index: usize) {
        let run = &self.customer.runs[index];
        let Some(new) = self.workspace.funnels.get(&run.funnel).filter(|new| new.version != run.version).cloned() else { return };
        // Without the version that it is in, nobody knows where it is; it is ended where it would go on.
        let Some(old) = self.definitions.funnel(&run.version).cloned() else { return };
        let Some(step) = old.steps.list.get(run.at as usize) else { return };
        let (to, anew) = match fate(&old, Some(&new), &step.id) {
            Fate::Stay => return,
            Fate::Exit => {
                let why = format!("the present version has no step `{}`", step.id);
                self.run_fact(index, &old, What::Exited, "on_change", why);
                self.end_run(index, "exited");
                return;
            }
            Fate::Migrate(to) => (to, false),
            Fate::Anew(to) => (to, true),
        };
        let Some(at) = new.steps.list.iter().position(|step| step.id == to).and_then(|at| u32::try_from(at).ok()) else { return };
        let run = &mut self.customer.runs[index];
        self.runs.moved.push((run.funnel.clone(), run.version.clone(), new.version.clone()));
        self.runs.touched.insert(run.id);
        run.version.clone_from(&new.version);
        run.at = at;
        for (old, new) in &new.renamed {
            if let Some(result) = run.results.remove(old) {
                run.results.insert(new.clone(), result);
            }
        }
        if anew {
            run.state = RunState::Ready;
        }
        let why = if anew { "the step is another one now and is done from its beginning" } else { "" };
        self.run_fact(index, &Arc::clone(&new), What::Moved, to, why);
    }
}

#[cfg(test)]
mod tests {
    use crate::event::{Event, InputBody};
    use crate::fact::What;
    use crate::funnel::{self, Definitions, Files, Workspace};
    use crate::lang::diag::Faults;
    use crate::lang::time::{DAY_MS, Time};
    use crate::lang::value::{Fields, Value};
    use crate::play::Player;
    use std::sync::Arc;

    const WAITS: &str = "  - wait: 10 days\n    id: pause\n  - emit: first\n";

    fn workspace(head: &str, steps: &str) -> Arc<Workspace> {
        let settings = "workspace: Shop\nzone: Europe/Berlin\ncurrency: EUR\n";
        let funnel = format!("funnel: F\ntrigger: signed_up\nre_entry: always\n{head}steps:\n{steps}");
        let files: Files = [("autofunnel.yaml", settings), ("f.yaml", funnel.as_str())]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into();
        let mut faults = Faults::default();
        Arc::new(funnel::compile(&files, &mut faults).unwrap_or_else(|| panic!("{:?}", faults.list())))
    }

    fn start() -> Time {
        Time::parse("2027-03-01T09:00:00Z").unwrap()
    }

    fn signed_up(n: i64, time: Time) -> InputBody {
        let properties: Fields = [("order".to_owned(), Value::Int(n))].into();
        InputBody::Event(Event { id: format!("e{n}"), name: "signed_up".into(), time, properties, minor: None, depth: 0 })
    }

    /// Somebody who entered under one workspace and is woken under another a day later, as the look at everybody does.
    fn carried<'a>(before: &'a Definitions, after: &'a Definitions) -> Player<'a> {
        let mut player = Player::new(before, "c", start());
        player.input(start(), signed_up(1, start()));
        player.definitions = after;
        player.backlog(Vec::new(), start().plus_ms(DAY_MS));
        player
    }

    fn both(head: &str, steps: &str) -> (Definitions, Definitions) {
        let before = workspace("", WAITS);
        let mut after = Definitions::new(workspace(head, steps));
        after.pin(&before);
        (Definitions::new(before), after)
    }

    fn emitted(player: &Player<'_>) -> Vec<(i64, String)> {
        let days = |at: Time| at.since_ms(start()) / DAY_MS;
        player.facts.iter().filter(|f| f.what == What::Emitted).map(|f| (days(f.at), f.about.clone())).collect()
    }

    #[test]
    fn a_run_stays_or_moves_as_the_present_version_says() {
        let longer = "  - wait: 20 days\n    id: pause\n  - emit: second\n";
        for (head, wanted, moved) in [("", "first", 0), ("on_change: drain\n", "first", 0), ("on_change: migrate\n", "second", 1)]
        {
            let (before, after) = both(head, longer);
            let mut player = carried(&before, &after);
            player.run_until(start().plus_ms(40 * DAY_MS));
            // The wait that is under way ends when it was to end.
            assert_eq!(emitted(&player), [(10, wanted.to_owned())], "{head}");
            assert_eq!(player.count(What::Moved), moved, "{head}");
        }
    }

    #[test]
    fn a_step_of_another_kind_is_done_at_once_and_one_that_is_gone_ends_the_run() {
        let (before, after) = both("on_change: migrate\nrenamed: { pause: hello }\n", "  - emit: second\n    id: hello\n");
        let player = carried(&before, &after);
        assert_eq!((emitted(&player), player.count(What::Finished)), (vec![(1, "second".to_owned())], 1));
        let (before, after) = both("on_change: migrate\n", "  - emit: second\n");
        let mut player = carried(&before, &after);
        player.run_until(start().plus_ms(40 * DAY_MS));
        assert_eq!((emitted(&player).len(), player.count(What::Exited)), (0, 1));
        let exit = player.facts.iter().find(|fact| fact.what == What::Exited).unwrap();
        assert_eq!(exit.why, "the present version has no step `pause`");
    }

    #[test]
    fn drained_runs_keep_her_from_entering_until_they_are_over() {
        for (head, entered) in [("key: event.order\n", 2), ("key: event.order\non_change: drain\n", 1)] {
            let before = workspace("key: event.order\n", WAITS);
            let mut after = Definitions::new(workspace(head, "  - wait: 10 days\n  - emit: second\n"));
            after.pin(&before);
            let before = Definitions::new(before);
            let mut player = carried(&before, &after);
            let at = |days: i64| start().plus_ms(days * DAY_MS);
            player.input(at(2), signed_up(2, at(2)));
            assert_eq!(player.count(What::Entered), entered, "{head}");
            player.input(at(12), signed_up(3, at(12)));
            assert_eq!(player.count(What::Entered), entered + 1, "{head}");
        }
    }
}
