//! `micado image`: images with their revisions and learned footprints, their removal, their
//! archives, and their critical usage.

mod archive;

use super::{
    args::{
        ImageVerb, PruneImagesArgs, RemoveImageArgs, SetImageArgs, ShowImageArgs, TagImageArgs,
    },
    failure::Failure,
    page::Page,
    printer::Printer,
    tables,
};
use micado_api::{
    Client, Critical, ErrorBody, ErrorCode, PruneQuery, RemovalView, SetImageRequest, Space,
};

pub(super) async fn image(
    verb: ImageVerb,
    client: &Client,
    printer: &Printer,
) -> Result<(), Failure> {
    match verb {
        ImageVerb::List => list(client, printer).await,
        ImageVerb::Show(args) => show(args, client, printer).await,
        ImageVerb::Tag(args) => tag(args, client, printer).await,
        ImageVerb::Remove(args) => remove(args, client, printer).await,
        ImageVerb::Export(args) => archive::export(args, client, printer).await,
        ImageVerb::Import(args) => archive::import(args, client, printer).await,
        ImageVerb::Prune(args) => prune(args, client, printer).await,
        ImageVerb::Set(args) => set(args, client, printer).await,
    }
}

async fn list(client: &Client, printer: &Printer) -> Result<(), Failure> {
    let images = client.images().await?;
    printer.data(&images, || {
        if images.is_empty() {
            Page::default()
        } else {
            Page::default().with(tables::images(&images))
        }
    })?;
    if images.is_empty() {
        printer.note("no images");
    }
    Ok(())
}

async fn show(args: ShowImageArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let images = client.images().await?;
    let image = images.into_iter().find(|image| image.image == args.name);
    let image = image.ok_or_else(|| {
        ErrorBody::new(ErrorCode::NotFound, format!("no image `{}`", args.name))
            .hint("`micado image list` shows all images")
    })?;
    printer.data(&image, || tables::image(&image))?;
    Ok(())
}

async fn tag(args: TagImageArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let tagged = client.tag_image(&args.image, &args.name).await?;
    printer.data(&tagged, || Page::default().line(&tagged.name))?;
    Ok(())
}

async fn remove(args: RemoveImageArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let removal = client.remove_image(&args.name).await?;
    print(&removal, printer)
}

async fn prune(args: PruneImagesArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let query = PruneQuery {
        all: args.all,
        dry_run: args.dry_run,
    };
    let removal = client.prune_images(query).await?;
    print(&removal, printer)
}

fn print(removal: &RemovalView, printer: &Printer) -> Result<(), Failure> {
    printer.data(removal, || match removal.images.is_empty() {
        true => Page::default(),
        false => Page::default().with(tables::removed_images(removal)),
    })?;
    for name in &removal.names {
        let done = match removal.space {
            Space::Planned => "would remove the name",
            _ => "removed the name",
        };
        printer.note(&format!("{done} {name}"));
    }
    let (count, freed) = (removal.images.len(), removal.freed);
    printer.note(&match removal.space {
        Space::Planned => format!("{count} to remove, which frees {freed}"),
        Space::Waiting => {
            format!("{count} removed; {freed} are freed at night, or by `micado image prune`")
        }
        Space::Collecting => format!("{count} removed; {freed} are being freed"),
        Space::Free => format!("{count} removed, {freed} freed"),
    });
    Ok(())
}

async fn set(args: SetImageArgs, client: &Client, printer: &Printer) -> Result<(), Failure> {
    let mut critical = Critical::default();
    if !args.clear {
        // An unknown image is refused below.
        critical = client
            .images()
            .await?
            .into_iter()
            .find(|it| it.image == args.name)
            .map_or(critical, |it| it.critical);
        critical = Critical {
            memory: args.critical_memory.or(critical.memory),
            cpu: args.critical_cpu.or(critical.cpu),
        };
    }
    let image = client
        .set_image(&SetImageRequest {
            image: args.name,
            critical,
        })
        .await?;
    printer.data(&image, || {
        Page::default().with(tables::images(std::slice::from_ref(&image)))
    })?;
    Ok(())
}
